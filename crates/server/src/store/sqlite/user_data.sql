-- Versions of nodes' user data; 50 of each node are kept.
CREATE TABLE user_data (version INTEGER PRIMARY KEY, mac TEXT NOT NULL, object TEXT NOT NULL, text TEXT NOT NULL);
CREATE INDEX user_data_of_node ON user_data (mac, version);
CREATE TRIGGER user_data_limit AFTER INSERT ON user_data BEGIN
    DELETE FROM user_data WHERE mac = new.mac AND version <=
        (SELECT version FROM user_data WHERE mac = new.mac ORDER BY version DESC LIMIT 1 OFFSET 50);
END;
