"""The facts: what happened, when it happened, and the things it happened to."""

from onefold import Entity, EventSource

origin = Entity(name="origin", keys={"origin": "VARCHAR"}, description="An airport of New York: EWR, JFK or LGA")
plane = Entity(name="plane", keys={"tailnum": "VARCHAR"}, description="One aircraft; a request may not know it yet")
carrier = Entity(name="carrier", keys={"carrier": "VARCHAR"}, description="An airline, by its two-letter code")
route = Entity(name="route", keys={"origin": "VARCHAR", "dest": "VARCHAR"}, description="From one airport to another")

departures = EventSource(
    name="departures",
    schema={
        "departed_at": "TIMESTAMP",
        "carrier": "VARCHAR",
        "flight": "BIGINT",
        "tailnum": "VARCHAR",
        "origin": "VARCHAR",
        "dest": "VARCHAR",
        "scheduled_at": "TIMESTAMP",
        "dep_delay": "BIGINT",
        "distance": "DOUBLE",
    },
    event_time="departed_at",
    path="data/past/departures.parquet",
    topic="departures",
    description="A flight left the gate; dep_delay in minutes, distance in miles",
)

arrivals = EventSource(
    name="arrivals",
    schema={
        "landed_at": "TIMESTAMP",
        "carrier": "VARCHAR",
        "flight": "BIGINT",
        "tailnum": "VARCHAR",
        "origin": "VARCHAR",
        "dest": "VARCHAR",
        "arr_delay": "DOUBLE",
        "dep_delay": "BIGINT",
        "air_time": "DOUBLE",
        "distance": "DOUBLE",
    },
    event_time="landed_at",
    path="data/past/arrivals.parquet",
    topic="arrivals",
    description="A flight from New York arrived; only now is arr_delay (minutes) known",
)

weather = EventSource(
    name="weather",
    schema={
        "observed_at": "TIMESTAMP",
        "origin": "VARCHAR",
        "temp": "DOUBLE",
        "dewp": "DOUBLE",
        "humid": "DOUBLE",
        "wind_dir": "BIGINT",
        "wind_speed": "DOUBLE",
        "wind_gust": "DOUBLE",
        "precip": "DOUBLE",
        "pressure": "DOUBLE",
        "visib": "DOUBLE",
    },
    event_time="observed_at",
    path="data/past/weather.parquet",
    topic="weather",
    description="The weather at an airport of New York, hourly",
)
