"""Which CometBFT is meant, how it is installed, and the names of its sockets. Light: the supervisor needs no more."""

from __future__ import annotations

from typing import Final

VERSION: Final = "v0.38.25"
PACKAGE: Final = f"github.com/cometbft/cometbft/cmd/cometbft@{VERSION}"
INSTALL_COMMAND: Final = f"go install {PACKAGE}"

ABCI_SOCKET: Final = "abci.sock"
RPC_SOCKET: Final = "rpc.sock"
"""Both lie in CometBFT's home, in which it runs, so that they have short names: a Unix socket's path has 107 bytes."""
