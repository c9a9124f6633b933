"""All planted bugs, by layer."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant
from tests.mutants.of_consensus import CONSENSUS
from tests.mutants.of_domain import DOMAIN
from tests.mutants.of_ledger import LEDGER
from tests.mutants.of_node import NODE
from tests.mutants.of_proofs import PROOFS

MUTANTS: Final[tuple[Mutant, ...]] = (*CONSENSUS, *LEDGER, *PROOFS, *DOMAIN, *NODE)
