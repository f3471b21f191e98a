"""What a customer has ordered of late, and how a new basket compares with it."""

from onefold import Entity, EventSource, FeatureService, FeatureView, OnDemandView

customer = Entity(name="customer", keys={"customer_id": "BIGINT"}, description="Someone who buys")

orders = EventSource(
    name="orders",
    schema={
        "order_id": "VARCHAR",
        "customer_id": "BIGINT",
        "amount": "DOUBLE",
        "category": "VARCHAR",
        "ordered_at": "TIMESTAMP",
    },
    event_time="ordered_at",
    event_id="order_id",
    path="data/orders.parquet",
    description="One row an order",
)

customer_spend = FeatureView(
    name="customer_spend",
    source=orders,
    entity=customer,
    sql="""
        SELECT
            count(*) OVER d7                                    AS orders_7d,
            sum(amount) OVER d7                                 AS spend_7d,
            count(*) OVER d30                                   AS orders_30d,
            avg(amount) OVER d30                                AS avg_order_30d,
            max(amount) OVER d30                                AS max_order_30d,
            count(*) FILTER (WHERE category = 'books') OVER d30 AS books_30d
        FROM orders
        WINDOW
            d7 AS (RANGE BETWEEN INTERVAL 7 DAYS PRECEDING AND CURRENT ROW),
            d30 AS (RANGE BETWEEN INTERVAL 30 DAYS PRECEDING AND CURRENT ROW)
    """,
    freshness="14 days",
    description="How much and how often a customer buys",
)

basket = OnDemandView(
    name="basket",
    views=[customer_spend],
    request={"basket_total": "DOUBLE"},
    sql="SELECT basket_total AS basket, basket_total / avg_order_30d AS basket_ratio",
    description="The basket at hand against the customer's own average",
)

will_return = FeatureService(
    name="will_return",
    features=[customer_spend, basket],
    description="What the model takes that says whether a basket will be sent back",
)
