import { Container, ResolutionError, token } from "./container";
import { ConsoleLogger, Greeter, MemoryUserRepo, TClock, TGreeter, TLogger, TUserRepo } from "./services";

function bootstrap(): Container {
  return new Container()
    .register(TLogger, () => new ConsoleLogger())
    .register(TClock, () => ({ now: () => new Date("2024-05-01T08:00:00Z") }))
    .register(TUserRepo, (c) => new MemoryUserRepo(c.resolve(TLogger)))
    .register(TGreeter, (c) => new Greeter(c.resolve(TUserRepo), c.resolve(TClock), c.resolve(TLogger)), "transient");
}

function main() {
  const app = bootstrap();
  console.log(app.resolve(TGreeter).greet(1));
  console.log(app.resolve(TGreeter).greet(9));
  console.log("same logger:", app.resolve(TLogger) === app.resolve(TLogger));
  console.log("same greeter:", app.resolve(TGreeter) === app.resolve(TGreeter));

  const evening = app.child().register(TClock, () => ({ now: () => new Date("2024-05-01T20:00:00Z") }));
  evening.register(TGreeter, (c) => new Greeter(c.resolve(TUserRepo), c.resolve(TClock), c.resolve(TLogger)));
  console.log(evening.resolve(TGreeter).greet(2));

  const A = token<string>("A");
  const B = token<string>("B");
  const broken = new Container().register(A, (c) => c.resolve(B)).register(B, (c) => c.resolve(A));
  for (const t of [A, token<number>("Missing")]) {
    try {
      broken.resolve<unknown>(t);
    } catch (e) {
      if (!(e instanceof ResolutionError)) throw e;
      console.log(`${e.name}: ${e.message}`);
    }
  }
}

main();
