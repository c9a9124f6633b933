"""E-licenses: types, issuers, licenses, consent and use, credentials, wallet, verification."""
