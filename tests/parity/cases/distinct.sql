-- Distinct values: NULL is none, every NaN is one, and -0.0 is 0.0. The newest stands last, each at its newest place.
-- source: visits (user VARCHAR, at TIMESTAMP, page VARCHAR, x DOUBLE)
-- key: user
-- time: at
SELECT
  count(DISTINCT page) OVER h AS pages,
  count(DISTINCT x) OVER h AS numbers,
  count(DISTINCT page) FILTER (WHERE x > 0) OVER h AS liked,
  last_distinct(page, 2) OVER h AS trail
FROM visits
WINDOW h AS (RANGE BETWEEN INTERVAL 1 HOUR PRECEDING AND CURRENT ROW)
-- events:
-- a | 2013-12-01 10:00:00 | home | nan
-- a | 2013-12-01 10:10:00 | cart | 0.0
-- a | 2013-12-01 10:20:00 | NULL | -0.0
-- a | 2013-12-01 10:30:00 | home | nan
-- a | 2013-12-01 11:05:00 | end | 1.5
-- rows: user | event_timestamp => pages | numbers | liked | trail
-- a | 2013-12-01 10:30:00 => 2 | 2 | 1 | ["cart", "home"]
-- a | 2013-12-01 11:00:00 => 2 | 2 | 1 | ["cart", "home"]
-- a | 2013-12-01 11:05:00 => 3 | 3 | 2 | ["home", "end"]
-- a | 2013-12-01 13:00:00 => 0 | 0 | 0 | []
