interface User {
  id: number;
  profile?: { email: string };
}

const users: User[] = [
  { id: 1, profile: { email: "one@example.org" } },
  { id: 2 },
];

function domain(user: User): string {
  return user.profile!.email.split("@")[1];
}

for (const user of users) {
  console.log(`user ${user.id}: ${domain(user)}`);
}
