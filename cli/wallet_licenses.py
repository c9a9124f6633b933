"""`mulu wallet remove`: a license leaves the wallet, its receipts stay."""

from __future__ import annotations

from cli.options import HandleArgument, JsonOption, YesOption
from cli.output import CommandError, ExitCode, say, show_json
from cli.questions import confirm
from cli.validation import handle_of
from cli.wallet_link import DEFAULT_WALLET, WalletOption, open_wallet


def remove(
    handle: HandleArgument,
    wallet: WalletOption = DEFAULT_WALLET,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Remove a license, and the key that it is bound to, from the wallet. Receipts stay; the ledger does not change.

    A use that was consented to with it and not disclosed yet cannot be disclosed any more, and a bound
    license cannot be added again: its key is gone.
    """
    opened = open_wallet(wallet)
    named = handle_of(handle)
    held = opened.read().license(named)
    if held is None:
        raise CommandError(
            f"no license {named.hex()} is in the wallet",
            hint="mulu wallet list shows those that are.",
            code="wallet.no_license",
        )
    question = f"Remove license {named.hex()} of type {held.credential.license_type}"
    for_good = " and its key, for good" if held.key is not None else ""
    if not yes and not confirm(f"{question}{for_good}?", "--yes"):
        raise CommandError("nothing was removed", code="refused", exit_code=ExitCode.REFUSED)
    opened.remove(named)
    if as_json:
        show_json({"removed": named.hex()})
    else:
        say(f"License {named.hex()} is no longer in the wallet; its receipts are.")
