WITH events AS MATERIALIZED (SELECT * FROM (SELECT *, {'o': ord, 'v': c2} AS c2_it FROM (SELECT *, 1 AS ev, row_number() OVER (ORDER BY ts, _sequence, _offset) AS ord FROM (SELECT "user" AS _k0, epoch_us("at") AS ts, _sequence, _offset, NULL AS _id, CAST(CAST(unhex(left(md5(CAST("n" AS VARCHAR)), 16)) AS BIT) AS BIGINT) AS c0, "amount" AS c1, "n" AS c2 FROM orders WHERE "user" IS NOT NULL))))
SELECT _row, a0 AS "v.amounts", _4 AS "v.newest", _8 AS "v.about"
FROM (SELECT *, list_reverse(_3[:2]) AS _4
FROM (SELECT *, list_filter(_2, lambda e, i: list_position(_2, e) = i) AS _3, CASE WHEN len(_6) < 2048 THEN len(_6) ELSE CAST((75520970237766904315904::HUGEINT + _7) // (2 * _7) AS BIGINT) END AS _8
FROM (SELECT *, list_reverse(list_filter(_1, lambda e: e IS NOT NULL)) AS _2, (_6[2048]::HUGEINT + 9223372036854775809::HUGEINT) AS _7
FROM (SELECT *, list_transform(list_sort(_0), lambda e: e.v) AS _1, list_sort(_5)[:2048] AS _6
FROM (SELECT *, coalesce(list_filter(a1, lambda e: e IS NOT NULL), []) AS _0, coalesce(list_filter(a2, lambda e: e IS NOT NULL), []) AS _5
FROM (SELECT _row, ts AS _t, count(DISTINCT c1) OVER w0 AS a0, list(c2_it) OVER w0 AS a1, list(DISTINCT c0) OVER w0 AS a2 FROM (SELECT _k0, ts, NULL::BIGINT AS _row, c1, c2_it, c0 FROM events UNION ALL BY NAME SELECT _k0, _t AS ts, _row FROM spine) WINDOW w0 AS (PARTITION BY _k0 ORDER BY ts RANGE BETWEEN (CASE WHEN _row IS NULL THEN 0 ELSE 86400000000 END)::BIGINT PRECEDING AND CURRENT ROW) QUALIFY _row IS NOT NULL))))))
