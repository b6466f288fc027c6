-- What SQLite has in five steps; line.id is given here, and is not copied between stores.
CREATE TABLE lease (mac TEXT PRIMARY KEY, address TEXT NOT NULL, until_ms BIGINT NOT NULL);
CREATE TABLE node (mac TEXT PRIMARY KEY, object TEXT NOT NULL);
CREATE TABLE line (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, mac TEXT NOT NULL, boot BIGINT NOT NULL, object TEXT NOT NULL
);
CREATE INDEX line_of_node ON line (mac, boot);
CREATE TABLE swarm (id BIGINT PRIMARY KEY CHECK (id = 1), object TEXT NOT NULL);
CREATE TABLE stack (name TEXT PRIMARY KEY, object TEXT NOT NULL);
CREATE TABLE rollout (id BIGINT PRIMARY KEY CHECK (id = 1), object TEXT NOT NULL);
CREATE TABLE credential (id TEXT PRIMARY KEY, object TEXT NOT NULL);
CREATE TABLE account (name TEXT PRIMARY KEY, object TEXT NOT NULL);
CREATE TABLE audit (id BIGINT PRIMARY KEY, object TEXT NOT NULL);
CREATE TABLE event (id BIGINT PRIMARY KEY, object TEXT NOT NULL);
-- Versions of nodes' user data; 50 of each node are kept.
CREATE TABLE user_data (version BIGINT PRIMARY KEY, mac TEXT NOT NULL, object TEXT NOT NULL, text TEXT NOT NULL);
CREATE INDEX user_data_of_node ON user_data (mac, version);
CREATE FUNCTION user_data_limit() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    DELETE FROM user_data WHERE mac = new.mac AND version <=
        (SELECT version FROM user_data WHERE mac = new.mac ORDER BY version DESC LIMIT 1 OFFSET 50);
    RETURN NULL;
END $$;
CREATE TRIGGER user_data_limit AFTER INSERT ON user_data FOR EACH ROW EXECUTE FUNCTION user_data_limit();
-- The schema's number; and which run of a head wrote last, and its how manieth transaction: whether a commit that was not answered
-- was made is looked up there.
CREATE TABLE writer (id BIGINT PRIMARY KEY CHECK (id = 1), schema BIGINT NOT NULL, run TEXT NOT NULL, batch BIGINT NOT NULL);
INSERT INTO writer VALUES (1, 0, '', 0);
