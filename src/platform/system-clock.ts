import { randomBytes } from 'node:crypto';
import type { Clock, RandomBytes } from './clock.js';

export const systemClock: Clock = { now: () => new Date() };
export const systemRandom: RandomBytes = (length) => randomBytes(length);
