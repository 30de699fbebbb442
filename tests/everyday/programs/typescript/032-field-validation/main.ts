import { clamp, entity, matches, min, required, validate } from "./validation";

@entity
class Customer {
  @required
  name?: string;

  @matches(/^[^@\s]+@[^@\s]+\.[a-z]{2,}$/)
  @required
  email?: string;

  @min(18)
  age = 0;

  @clamp(0, 5)
  stars = 11;

  constructor(init: Partial<Customer> = {}) {
    Object.assign(this, init);
  }
}

const samples = [
  new Customer({ name: "Kim", email: "kim@example.org", age: 30 }),
  new Customer({ name: "", email: "not-an-email", age: 17 }),
  new Customer(),
];
samples.forEach((c, i) => {
  const errors = validate(c);
  console.log(`#${i + 1}`, c.stars, errors.length ? errors : "valid ✔");
});
