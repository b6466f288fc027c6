-- The newest rollout alone: what came before is on the nodes' timelines.
CREATE TABLE rollout (id INTEGER PRIMARY KEY CHECK (id = 1), object TEXT NOT NULL);
