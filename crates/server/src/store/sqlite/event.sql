-- What was decided about the swarm and its rollouts, in words.
CREATE TABLE event (id INTEGER PRIMARY KEY, object TEXT NOT NULL);
