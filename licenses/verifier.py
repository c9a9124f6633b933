"""The verifier of licenses and uses: holds an anchor, answers questions; see `licenses.verification` for the checks."""

from __future__ import annotations

from ledger.light import TrustedView
from ledger.policy import Policy
from ledger.suite import Suite
from licenses.verdicts import Report
from licenses.verification import NO_BUNDLE, Question, Verification


class Verifier:
    """Verifies under one policy, its anchor, as often as it is asked.

    The signatures under a checkpoint are verified once for all bundles that rest on it, while it is among the last
    `ledger.light.MAX_KNOWN_CHECKPOINTS`. Not to be shared by threads.
    """

    def __init__(self, suite: Suite, policy: Policy) -> None:
        self._suite = suite
        self._policy = policy
        self._anchored: TrustedView | None = None

    def view(self) -> TrustedView:
        """Return a view at the anchor, for one bundle.

        Raises:
            InvalidProof: the policy names no log, or several origins, so no one chain is meant.
        """
        if self._anchored is None:
            self._anchored = TrustedView(self._suite, self._policy)
        return self._anchored.restarted()

    def verify(
        self,
        question: Question,
        *,
        credential: str | None = None,
        bundle: bytes | None = None,
        no_bundle: str = NO_BUNDLE,
    ) -> Report:
        """Verify a credential, a bundle, or a credential against a bundle. Bad input becomes a verdict, never an error.

        `credential` is the text of a package, credential or presentation; `bundle` is a bundle file. `no_bundle`
        tells people why there is none: then nothing that the ledger decides is established.
        """
        verification = Verification(self._suite, question, no_bundle)
        verification.run(self.view, credential, bundle)
        return verification.report()
