-- How long before t the newest event of a window lies, in microseconds.
-- source: logins (user VARCHAR, at TIMESTAMP, ok BOOLEAN)
-- key: user
-- time: at
SELECT
  time_since_last() OVER d AS since,
  time_since_last() FILTER (WHERE ok) OVER d AS since_good,
  time_since_last() OVER (RANGE BETWEEN INTERVAL 1 DAY PRECEDING AND CURRENT ROW EXCLUDE GROUP) AS since_before,
  coalesce(time_since_last() OVER d // 60000000, -1) AS minutes
FROM logins
WINDOW d AS (RANGE BETWEEN INTERVAL 1 DAY PRECEDING AND CURRENT ROW)
-- events:
-- a | 2013-12-01 10:00:00 | TRUE
-- a | 2013-12-01 12:00:00 | FALSE
-- a | 2013-12-01 11:00:00 | NULL
-- rows: user | event_timestamp => since | since_good | since_before | minutes
-- a | 2013-12-01 12:00:00 => 0 | 7200000000 | 3600000000 | 0
-- a | 2013-12-01 12:00:00.000001 => 1 | 7200000001 | 1 | 0
-- a | 2013-12-02 12:00:00 => 86400000000 | NULL | 86400000000 | 1440
-- a | 2013-12-02 12:00:00.000001 => NULL | NULL | NULL | -1
