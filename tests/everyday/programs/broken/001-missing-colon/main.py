scores = {"ana": 81, "bruno": 67, "cleo": 92}

def grade(points):
    if points >= 90:
        return "A"
    elif points >= 80
        return "B"
    else:
        return "C"

for name, points in scores.items():
    print(name, grade(points))
