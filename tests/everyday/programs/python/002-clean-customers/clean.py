"""Clean the raw customer export."""
import re
import pandas as pd

COUNTRIES = {"us": "US", "usa": "US", "spain": "ES", "es": "ES", "germany": "DE", "de": "DE"}
EMAIL_RE = re.compile(r"^[^@\s]+@[^@\s]+\.[a-z]{2,}$")


def snake(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", name.strip().lower()).strip("_")


def load(path):
    df = pd.read_csv(path, dtype=str, skipinitialspace=True)
    df.columns = [snake(c) for c in df.columns]
    return df


def clean(df: pd.DataFrame) -> pd.DataFrame:
    df = df.drop_duplicates().copy()
    df["full_name"] = (
        df["full_name"].fillna("Unknown").str.strip().str.replace(r"\s+", " ", regex=True).str.title()
    )
    df["e_mail"] = df["e_mail"].str.lower()
    df["valid_email"] = df["e_mail"].fillna("").map(lambda e: bool(EMAIL_RE.match(e)))
    df["signup_date"] = df["signup_date"].map(lambda s: pd.to_datetime(s, errors="coerce"))
    df["country"] = df["country"].str.lower().map(COUNTRIES)
    df["spend"] = pd.to_numeric(df["spend"].str.replace(",", ""), errors="coerce").fillna(0.0)
    df["customer_id"] = df["customer_id"].astype(int)
    return df.set_index("customer_id")


def main():
    raw = load("customers_raw.csv")
    print(f"Loaded {len(raw)} rows, columns: {list(raw.columns)}")
    cleaned = clean(raw)
    print(f"After cleaning: {len(cleaned)} rows")
    print(cleaned.to_string())
    print("\nProblems:")
    print("  missing dates :", int(cleaned.signup_date.isna().sum()))
    print("  invalid emails:", int((~cleaned.valid_email).sum()))
    cleaned.to_csv("customers_clean.csv")
    print("✅ written customers_clean.csv")


if __name__ == "__main__":
    main()
