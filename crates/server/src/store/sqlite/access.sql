-- Tokens, sessions and accounts (hashes only), and what was changed by whom.
CREATE TABLE credential (id TEXT PRIMARY KEY, object TEXT NOT NULL);
CREATE TABLE account (name TEXT PRIMARY KEY, object TEXT NOT NULL);
CREATE TABLE audit (id INTEGER PRIMARY KEY, object TEXT NOT NULL);
