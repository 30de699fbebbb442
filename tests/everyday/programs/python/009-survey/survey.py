import pandas as pd

LIKERT = {"strongly disagree": 1, "disagree": 2, "neutral": 3, "agree": 4, "strongly agree": 5}

wide = pd.DataFrame(
    [
        ["r1", "18-25", "agree", "neutral", "strongly agree"],
        ["r2", "26-40", "disagree", "agree", "agree"],
        ["r3", "26-40", "strongly agree", None, "neutral"],
        ["r4", "41+", "neutral", "disagree", "strongly disagree"],
        ["r5", "18-25", "agree", "agree", "agree"],
    ],
    columns=["respondent", "age", "q1_ease", "q2_price", "q3_support"],
)

long = wide.melt(id_vars=["respondent", "age"], var_name="question", value_name="answer")
long["score"] = long["answer"].map(LIKERT)
print(f"{len(wide)} respondents -> {len(long)} answers, {long.score.isna().sum()} missing")

summary = long.groupby("question")["score"].agg(["mean", "std", "count"]).round(2)
print(summary, end="\n\n")

print(long.pivot_table(index="age", columns="question", values="score", aggfunc="mean").round(2))
print()
print(pd.crosstab(long["question"], long["answer"].astype("category").cat.set_categories(LIKERT)))

for q, row in summary.iterrows():
    bar = "█" * round(row["mean"] * 4)
    print(f"{q:<12} {bar} {row['mean']:.2f}")
