-- A sum does not depend on the order of its values: each is cut to a multiple of 2^-72, the total is rounded once.
-- source: meter (id VARCHAR, at TIMESTAMP, x DOUBLE)
-- key: id
-- time: at
SELECT sum(x) OVER w AS total, avg(x) OVER w AS mean
FROM meter
WINDOW w AS (RANGE UNBOUNDED PRECEDING)
-- events:
-- tenths | 2013-12-01 10:00:00 | 0.1
-- tenths | 2013-12-01 10:00:00 | 0.2
-- tenths | 2013-12-01 10:00:00 | 0.3
-- large | 2013-12-01 10:00:00 | 1e15
-- large | 2013-12-01 10:00:00 | 0.3
-- large | 2013-12-01 10:00:00 | -1e15
-- tiny | 2013-12-01 10:00:00 | 1e-30
-- tiny | 2013-12-01 10:00:00 | -1e-30
-- beyond | 2013-12-01 10:00:00 | 9007199254740992.0
-- beyond | 2013-12-01 10:00:00 | -9007199254740992.0
-- endless | 2013-12-01 10:00:00 | inf
-- endless | 2013-12-01 10:00:00 | 1.0
-- both | 2013-12-01 10:00:00 | inf
-- both | 2013-12-01 10:00:00 | -inf
-- rows: id | event_timestamp => total | mean
-- tenths | 2013-12-01 10:00:00 => 0.6 | 0.19999999999999998
-- large | 2013-12-01 10:00:00 => 0.3 | 0.09999999999999999
-- tiny | 2013-12-01 10:00:00 => 0.0 | 0.0
-- beyond | 2013-12-01 10:00:00 => NULL | NULL
-- endless | 2013-12-01 10:00:00 => inf | inf
-- both | 2013-12-01 10:00:00 => nan | nan
