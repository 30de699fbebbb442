import { User } from "~/user";

const inputs: unknown[] = [
  { name: "Mo", role: "guest", born: "1990-05-05", pets: [{ kind: "cat", lives: 9 }] },
  { name: "M", age: 1.5, role: "root", born: "soon", pets: [{ kind: "cow" }, 7], extra: true },
  null,
  { name: "Zoe", role: "admin", born: "2001-01-01", pets: "none" },
];

inputs.forEach((input, i) => {
  const r = User.safeParse(input);
  if (r.success) {
    const user: User = r.data;
    console.log(`#${i} ok`, user);
  } else {
    console.log(`#${i} ${r.issues.length} problem(s)`);
    for (const { path, message } of r.issues) console.log(`   ${path.join(".") || "(root)"}: ${message}`);
  }
});

try {
  User.parse(42);
} catch (e) {
  console.log((e as Error).message);
}
