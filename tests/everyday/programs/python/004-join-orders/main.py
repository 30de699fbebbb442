import pandas as pd
from io import StringIO

customers = pd.read_csv(StringIO("""id,name,city
1,Anna,Oslo
2,Ben,Bergen
3,Chloe,Oslo
4,Dan,Tromso
"""))

orders = pd.read_csv(StringIO("""order_id,customer_id,total
100,1,50.0
101,1,25.5
102,3,99.9
103,9,10.0
104,3,5.1
"""))

merged = customers.merge(orders, left_on="id", right_on="customer_id", how="outer", indicator=True)
print(merged)

no_orders = merged[merged["_merge"] == "left_only"]["name"].tolist()
orphans = merged.loc[merged["_merge"] == "right_only", "order_id"].astype(int).tolist()
print("Customers without orders:", no_orders)
print("Orders without a customer:", orphans)

inner = customers.merge(orders, left_on="id", right_on="customer_id")
result = inner.groupby("city").agg(orders=("order_id", "count"), total=("total", "sum")).sort_values("total", ascending=False)
result
