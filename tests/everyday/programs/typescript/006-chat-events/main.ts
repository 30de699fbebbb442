import { TypedEmitter } from "./typed-emitter";

interface Message {
  from: string;
  text: string;
  mentions: string[];
}

interface ChatEvents {
  join: [user: string];
  leave: [user: string, reason?: string];
  message: [msg: Message];
}

class ChatRoom extends TypedEmitter<ChatEvents> {
  private users = new Set<string>();

  constructor(public readonly name: string) {
    super();
  }

  join(user: string) {
    if (this.users.has(user)) throw new Error(`${user} is already in #${this.name}`);
    this.users.add(user);
    this.emit("join", user);
  }
  leave(user: string, reason?: string) {
    if (this.users.delete(user)) this.emit("leave", user, reason);
  }
  say(from: string, text: string) {
    const mentions = [...text.matchAll(/@(\w+)/g)].map((m) => m[1]).filter((u) => this.users.has(u));
    this.emit("message", { from, text, mentions });
  }
}

const room = new ChatRoom("general");
room.on("join", (u) => console.log(`👋 ${u} joined`));
room.on("leave", (u, why = "no reason") => console.log(`🚪 ${u} left (${why})`));
const mute = room.on("message", ({ from, text }) => console.log(`<${from}> ${text}`));
room.on("message", ({ mentions }) => mentions.forEach((m) => console.log(`   🔔 ping ${m}`)));
room.once("message", () => console.log("(first message ever!)"));

room.join("ada_bot");
room.join("bob_bot");
room.say("ada_bot", "hi @bob_bot and @nobody");
room.say("bob_bot", "hello!");
mute();
room.say("ada_bot", "can you hear me @bob_bot?");
room.leave("bob_bot");
room.leave("ada_bot", "timeout");
try {
  room.join("x");
  room.join("x");
} catch (e) {
  console.log("Error:", (e as Error).message);
}
console.log("listeners:", { message: room.count("message"), join: room.count("join") });
