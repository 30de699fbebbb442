"""Sum the even numbers."""


def sum_even(numbers):
    total = 0
    for n in numbers:
        if n % 2 == 0:
            total += n
     return total


print(sum_even([1, 2, 3, 4, 10]))
