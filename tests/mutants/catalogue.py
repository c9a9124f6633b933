"""All planted bugs, by layer."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant
from tests.mutants.of_consensus import CONSENSUS
from tests.mutants.of_directory import DIRECTORY
from tests.mutants.of_ledger import LEDGER
from tests.mutants.of_licenses import LICENSES
from tests.mutants.of_node import NODE
from tests.mutants.of_proofs import PROOFS

MUTANTS: Final[tuple[Mutant, ...]] = (*CONSENSUS, *LEDGER, *PROOFS, *DIRECTORY, *LICENSES, *NODE)
