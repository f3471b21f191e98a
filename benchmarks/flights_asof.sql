-- The bare join: the last event of each of the nine (source, entity) pairs as of the spine's time, and nothing computed.
SELECT
  od.dep_delay, oa.arr_delay, w."temp", w.wind_speed, w.visib, w.humid, w.pressure, cd.dep_delay, ca.arr_delay,
  pd.dep_delay, pa.arr_delay, ra.arr_delay, ra.air_time, rd.dep_delay
FROM spine AS s
ASOF LEFT JOIN departures AS od ON s.origin = od.origin AND s.t >= od.departed_at
ASOF LEFT JOIN arrivals AS oa ON s.origin = oa.origin AND s.t >= oa.landed_at
ASOF LEFT JOIN weather AS w ON s.origin = w.origin AND s.t >= w.observed_at
ASOF LEFT JOIN departures AS cd ON s.carrier = cd.carrier AND s.t >= cd.departed_at
ASOF LEFT JOIN arrivals AS ca ON s.carrier = ca.carrier AND s.t >= ca.landed_at
ASOF LEFT JOIN departures AS pd ON s.tailnum = pd.tailnum AND s.t >= pd.departed_at
ASOF LEFT JOIN arrivals AS pa ON s.tailnum = pa.tailnum AND s.t >= pa.landed_at
ASOF LEFT JOIN arrivals AS ra ON s.origin = ra.origin AND s.dest = ra.dest AND s.t >= ra.landed_at
ASOF LEFT JOIN departures AS rd ON s.origin = rd.origin AND s.dest = rd.dest AND s.t >= rd.departed_at
ORDER BY s._row
