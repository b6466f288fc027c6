-- Objects are JSON; columns are only what is searched for.
CREATE TABLE lease (mac TEXT PRIMARY KEY, address TEXT NOT NULL, until_ms INTEGER NOT NULL);
CREATE TABLE node (mac TEXT PRIMARY KEY, object TEXT NOT NULL);
CREATE TABLE line (id INTEGER PRIMARY KEY, mac TEXT NOT NULL, boot INTEGER NOT NULL, object TEXT NOT NULL);
CREATE INDEX line_of_node ON line (mac, boot);
CREATE TABLE swarm (id INTEGER PRIMARY KEY CHECK (id = 1), object TEXT NOT NULL);
CREATE TABLE stack (name TEXT PRIMARY KEY, object TEXT NOT NULL);
