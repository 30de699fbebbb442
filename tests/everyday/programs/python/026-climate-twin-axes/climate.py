import pandas as pd
import matplotlib.pyplot as plt

climate = pd.DataFrame({
    "month": list("JFMAMJJASOND"),
    "temp": [4, 5, 8, 12, 16, 19, 21, 21, 17, 13, 8, 5],
    "rain": [52, 41, 44, 49, 62, 58, 56, 63, 55, 61, 58, 57],
})
climate

fig, ax1 = plt.subplots()
ax1.bar(climate.index, climate.rain, color="skyblue")
ax1.set_ylabel("Rain (mm)")
ax2 = ax1.twinx()
ax2.plot(climate.index, climate.temp, color="crimson", marker="s")
ax2.set_ylabel("Temperature (°C)")
plt.xticks(climate.index, climate.month)
plt.show()

climate.plot(x="month", y="rain", kind="bar", title="Rain only")
plt.show()

climate.rain.sum()
