-- min_by and max_by: the x of the earliest event with the least or greatest y. A y that is NULL is passed over, an x is not.
-- source: bids (item VARCHAR, at TIMESTAMP, who VARCHAR, price DOUBLE, quality BIGINT)
-- key: item
-- time: at
SELECT
  max_by(who, price) OVER d AS best,
  min_by(who, price) OVER d AS least,
  max_by(price, who) OVER d AS of_last_name,
  max_by(who, price) FILTER (WHERE quality > 1) OVER d AS best_good
FROM bids
WINDOW d AS (RANGE BETWEEN INTERVAL 1 DAY PRECEDING AND CURRENT ROW)
-- events:
-- i | 2013-12-01 10:00:00 | ann | 5.0 | 1
-- i | 2013-12-01 10:00:00 | bob | 5.0 | 2
-- i | 2013-12-01 09:00:00 | cyd | 5.0 | 2
-- i | 2013-12-01 11:00:00 | dan | NULL | 3
-- i | 2013-12-01 11:00:00 | NULL | 7.0 | 1
-- i | 2013-12-01 12:00:00 | eve | nan | 2
-- rows: item | event_timestamp => best | least | of_last_name | best_good
-- i | 2013-12-01 10:00:00 => cyd | cyd | 5.0 | cyd
-- i | 2013-12-01 11:00:00 => NULL | cyd | NULL | cyd
-- i | 2013-12-01 12:00:00 => eve | cyd | nan | eve
-- i | 2013-12-02 09:30:00 => eve | ann | nan | eve
-- i | 2013-12-01 08:00:00 => NULL | NULL | NULL | NULL
