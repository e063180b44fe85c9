-- The canonical tables for MySQL 5.7 and later, and MariaDB 10.4 and later: data/schema.yaml says
-- what a column means. Names are told apart by every letter (utf8mb4_bin), as in the notebooks.
-- Times are points in time: set the session's time_zone to '+00:00' before you write or read UTC.
-- Further columns may be added; a log with one row an exposure needs label TINYINT NOT NULL, with
-- event_type 'impression' in every row. Loading goes faster without keys, so the keys come last.

CREATE TABLE user_behavior (
  event_id VARCHAR(255) NULL COMMENT 'name of the row',
  user_id VARCHAR(255) NOT NULL COMMENT 'who',
  item_id VARCHAR(255) NOT NULL COMMENT 'which product',
  event_time TIMESTAMP(6) NOT NULL COMMENT 'when',
  event_type ENUM('impression', 'click', 'cart', 'purchase') NOT NULL COMMENT 'what happened',
  list_id VARCHAR(255) NULL COMMENT 'one page of results or one visit',
  session_id VARCHAR(255) NULL COMMENT 'one sitting or one basket',
  query TEXT NULL COMMENT 'what was searched; empty for a recommendation',
  position BIGINT NULL COMMENT 'place on the page, counted from 1',
  price DOUBLE NULL COMMENT 'price of one piece at that moment',
  quantity DOUBLE NULL COMMENT 'how many',
  store_id VARCHAR(255) NULL COMMENT 'where'
) ENGINE=InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin
  COMMENT='One row for each thing a user was shown or did.';

CREATE TABLE product_features (
  item_id VARCHAR(255) NOT NULL COMMENT 'which product',
  title TEXT NULL COMMENT 'name shown to the user',
  category VARCHAR(255) NULL COMMENT 'upper level of the hierarchy',
  subcategory VARCHAR(255) NULL COMMENT 'lower level of the hierarchy',
  brand VARCHAR(255) NULL COMMENT 'brand or maker',
  price DOUBLE NULL COMMENT 'list price'
) ENGINE=InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin
  COMMENT='One row for each product.';

CREATE TABLE users (
  user_id VARCHAR(255) NOT NULL COMMENT 'who'
) ENGINE=InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin
  COMMENT='One row for each user, with attributes that do not change.';

ALTER TABLE user_behavior
  ADD UNIQUE KEY (event_id),
  ADD KEY (user_id, event_time),
  ADD KEY (item_id, event_time);

ALTER TABLE product_features ADD PRIMARY KEY (item_id);

ALTER TABLE users ADD PRIMARY KEY (user_id);
