import numpy as np
import pandas as pd


class MovingAverageStrategy:
    def __init__(self, short=5, long=20):
        self.short = short
        self.long = long

    def run(self, prices: pd.Series) -> pd.DataFrame:
        out = pd.DataFrame({"price": prices})
        out["sma_short"] = prices.rolling(self.short).mean()
        out["sma_long"] = prices.rolling(self.long).mean()
        out["position"] = (out["sma_short"] > out["sma_long"]).astype(int)
        out["signal"] = out["position"].diff().fillna(0).map({1.0: "BUY", -1.0: "SELL", 0.0: ""})
        return out


def make_prices(days=120, seed=7):
    np.random.seed(seed)
    returns = np.random.normal(0.0005, 0.02, days)
    prices = 100 * np.exp(np.cumsum(returns))
    return pd.Series(prices, index=pd.bdate_range("2024-01-01", periods=days)).round(2)


prices = make_prices()
strategy = MovingAverageStrategy(5, 20)
result = strategy.run(prices)
trades = result[result["signal"] != ""]
print(trades[["price", "signal"]])

cash, shares = 1000.0, 0.0
for day, row in trades.iterrows():
    if row.signal == "BUY" and cash:
        shares, cash = cash / row.price, 0.0
    elif row.signal == "SELL" and shares:
        cash, shares = shares * row.price, 0.0
final = cash + shares * prices.iloc[-1]
print(f"\nStart 1000.00 -> end {final:.2f}")
print(f"Buy & hold    -> end {1000 / prices.iloc[0] * prices.iloc[-1]:.2f}")
result.dropna().to_csv("signals.csv", float_format="%.3f")
