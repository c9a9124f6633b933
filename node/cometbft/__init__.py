"""A node whose blocks CometBFT orders: its application served, its process watched, transactions handed over."""
