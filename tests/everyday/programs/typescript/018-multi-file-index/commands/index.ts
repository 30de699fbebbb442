import type { Command } from "../util";
import count from "./count";
import slug from "./slug";

export const commands: Command[] = [slug, count];
