from math import sqrt, erf
import numpy as np
import pandas as pd


def z_test(x1: int, n1: int, x2: int, n2: int) -> tuple[float, float]:
    """Two proportion z test, returns (z, two sided p)."""
    p1, p2 = x1 / n1, x2 / n2
    p = (x1 + x2) / (n1 + n2)
    z = (p2 - p1) / sqrt(p * (1 - p) * (1 / n1 + 1 / n2))
    p_value = 2 * (1 - 0.5 * (1 + erf(abs(z) / sqrt(2))))
    return z, p_value


def main(n=4000, seed=123, alpha=0.05):
    rng = np.random.default_rng(seed)
    df = pd.DataFrame({"group": rng.choice(["control", "variant"], n)})
    base = df["group"].map({"control": 0.10, "variant": 0.13})
    df["converted"] = rng.random(n) < base
    df["device"] = rng.choice(["mobile", "desktop"], n, p=[0.65, 0.35])

    s = df.groupby("group")["converted"].agg(users="count", conversions="sum")
    s["rate"] = (s.conversions / s.users).map("{:.2%}".format)
    print(s)
    c, v = s.loc["control"], s.loc["variant"]
    z, p = z_test(c.conversions, c.users, v.conversions, v.users)
    print(f"z = {z:.3f}, p = {p:.5f}")
    print("Significant 🎉" if p < alpha else "Not significant 🤷")
    print(df.pivot_table(index="device", columns="group", values="converted").round(4))


main()
