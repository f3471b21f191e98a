-- Text is compared by code point; case is mapped in ASCII only; a number in text follows one grammar.
-- source: t (k VARCHAR, at TIMESTAMP, s VARCHAR)
-- key: k
-- time: at
SELECT
  max(s) OVER w AS last_in_order,
  last_value(upper(s)) OVER w AS loud,
  last_value(lower(s)) OVER w AS quiet,
  last_value(substring(s, 0, 3)) OVER w AS start,
  last_value(length(s)) OVER w AS size,
  last_value(TRY_CAST(s AS BIGINT)) OVER w AS number
FROM t
WINDOW w AS (RANGE UNBOUNDED PRECEDING)
-- events:
-- a | 2013-12-01 10:00:00 | Zebra
-- a | 2013-12-01 10:00:01 | apfel
-- a | 2013-12-01 10:00:02 | élan
-- a | 2013-12-01 10:00:03 | straße
-- a | 2013-12-01 10:00:04 | 🛫
-- a | 2013-12-01 10:00:05 | ÉtÉ
-- b | 2013-12-01 10:00:00 | +12
-- b | 2013-12-01 10:00:01 | 1_000
-- b | 2013-12-01 10:00:02 | 9223372036854775808
-- rows: k | event_timestamp => last_in_order | loud | quiet | start | size | number
-- a | 2013-12-01 10:00:01 => apfel | APFEL | apfel | ap | 5 | NULL
-- a | 2013-12-01 10:00:02 => élan | éLAN | élan | él | 4 | NULL
-- a | 2013-12-01 10:00:03 => élan | STRAßE | straße | st | 6 | NULL
-- a | 2013-12-01 10:00:04 => 🛫 | 🛫 | 🛫 | 🛫 | 1 | NULL
-- a | 2013-12-01 10:00:05 => 🛫 | ÉTÉ | ÉtÉ | Ét | 3 | NULL
-- b | 2013-12-01 10:00:00 => +12 | +12 | +12 | +1 | 3 | 12
-- b | 2013-12-01 10:00:01 => 1_000 | 1_000 | 1_000 | 1_ | 5 | NULL
-- b | 2013-12-01 10:00:02 => 9223372036854775808 | 9223372036854775808 | 9223372036854775808 | 92 | 19 | NULL
