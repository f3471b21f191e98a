-- Days begin at midnight UTC and weeks on Monday, before 1970 as after it.
-- source: t (k VARCHAR, at TIMESTAMP, w TIMESTAMP)
-- key: k
-- time: at
SELECT
  last_value(CAST(w AS DATE)) OVER l AS day,
  last_value(date_trunc('hour', w)) OVER l AS hour_start,
  last_value(date_trunc('month', w)) OVER l AS month_start,
  last_value(extract(isodow FROM w)) OVER l AS weekday,
  last_value(year(w)) OVER l AS in_year
FROM t
WINDOW l AS (RANGE UNBOUNDED PRECEDING)
-- events:
-- a | 2013-12-01 10:00:00 | 1969-12-31 23:59:59.999999
-- b | 2013-12-01 10:00:00 | 0001-01-01 00:00:00
-- c | 2013-12-01 10:00:00 | 9999-12-31 23:59:59.999999
-- d | 2013-12-01 10:00:00 | 2000-02-29 12:30:00
-- rows: k | event_timestamp => day | hour_start | month_start | weekday | in_year
-- a | 2013-12-02 00:00:00 => 1969-12-31 | 1969-12-31 23:00:00 | 1969-12-01 00:00:00 | 3 | 1969
-- b | 2013-12-02 00:00:00 => 0001-01-01 | 0001-01-01 00:00:00 | 0001-01-01 00:00:00 | 1 | 1
-- c | 2013-12-02 00:00:00 => 9999-12-31 | 9999-12-31 23:00:00 | 9999-12-01 00:00:00 | 5 | 9999
-- d | 2013-12-02 00:00:00 => 2000-02-29 | 2000-02-29 12:00:00 | 2000-02-01 00:00:00 | 2 | 2000
