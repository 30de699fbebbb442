import { token } from "./container";

export interface Logger {
  log(msg: string): void;
}
export interface Clock {
  now(): Date;
}
export interface UserRepo {
  find(id: number): { id: number; name: string } | undefined;
}

export const TLogger = token<Logger>("Logger");
export const TClock = token<Clock>("Clock");
export const TUserRepo = token<UserRepo>("UserRepo");
export const TGreeter = token<Greeter>("Greeter");

export class ConsoleLogger implements Logger {
  private n = 0;
  constructor(private prefix = "log") {}
  log(msg: string): void {
    console.log(`[${this.prefix} ${++this.n}] ${msg}`);
  }
}

export class MemoryUserRepo implements UserRepo {
  private data = [{ id: 1, name: "Ada" }, { id: 2, name: "Lina" }];
  constructor(private logger: Logger) {}
  find(id: number) {
    this.logger.log(`find user ${id}`);
    return this.data.find((u) => u.id === id);
  }
}

export class Greeter {
  constructor(private repo: UserRepo, private clock: Clock, private logger: Logger) {}
  greet(id: number): string {
    const user = this.repo.find(id);
    const part = this.clock.now().getUTCHours() < 12 ? "Good morning" : "Good evening";
    this.logger.log("greeting");
    return user ? `${part}, ${user.name}!` : "Who are you?";
  }
}
