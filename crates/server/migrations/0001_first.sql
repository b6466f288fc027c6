-- What the head observed and promised. Desired state is not here: it is in cluster.toml.
-- Columns are what the store itself looks at; the rest is a JSON document that one task reads and writes whole.

CREATE TABLE nodes (
    mac TEXT PRIMARY KEY NOT NULL,
    name TEXT NOT NULL,
    discovered INTEGER NOT NULL,
    life TEXT NOT NULL
) STRICT;

CREATE TABLE leases (
    mac TEXT PRIMARY KEY NOT NULL,
    address TEXT NOT NULL UNIQUE,
    until_ms INTEGER NOT NULL
) STRICT;

CREATE TABLE timelines (
    mac TEXT NOT NULL,
    number INTEGER NOT NULL,
    line TEXT NOT NULL,
    PRIMARY KEY (mac, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE stacks (
    name TEXT PRIMARY KEY NOT NULL,
    stack TEXT NOT NULL
) STRICT;

-- One row: the swarm as it was last seen whole.
CREATE TABLE swarm (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    known TEXT NOT NULL
) STRICT;
