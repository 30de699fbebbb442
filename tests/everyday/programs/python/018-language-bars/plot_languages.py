import csv
import matplotlib
matplotlib.use('Agg')
import matplotlib.pyplot as plt

names, shares = [], []
with open('languages.csv', newline='') as fh:
    for row in csv.DictReader(fh):
        names.append(row['language'])
        shares.append(float(row['share']))

fig, ax = plt.subplots(figsize=(8, 4.5))
bars = ax.barh(names[::-1], shares[::-1], color=plt.cm.viridis([i / len(names) for i in range(len(names))]))
ax.bar_label(bars, fmt='%.1f%%', padding=3)
ax.set_xlabel('Share of searches')
ax.set_title('Language popularity')
for side in ('top', 'right'):
    ax.spines[side].set_visible(False)
fig.savefig('languages.png', bbox_inches='tight')
plt.close(fig)

print(f'{len(names)} languages plotted, {sum(shares):.1f}% in total')
