def ask_number(prompt):
    while True:
        answer = input(prompt)
        try:
            return int(answer)
        except ValueError:
            print("Please enter a number!")

name = input("What is your name? ")
print(f"\nHello {name}, let's play! 🎮")

score = 0
if input("2 + 2 = ").strip() == "4":
    print("Correct!")
    score += 1
else:
    print("Wrong!")

if input("Capital of France? ").strip().lower() == "paris":
    print("Correct!")
    score += 1
else:
    print("Wrong!")

if ask_number("How many legs has a spider? ") == 8:
    print("Correct!")
    score += 1
else:
    print("Wrong!")

if input("Is 91 a prime number (y/n)? ").lower().startswith("n"):
    score += 1
else:
    print("Wrong! 7 * 13 = 91")

print(f"{name}, you got {score}/4 points ({score / 4:.0%})")
again = input("Play again? ")
try:
    input("Press enter to quit...")
except EOFError:
    print("\nBye!")
