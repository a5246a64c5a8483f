import { cells } from './cells.pg.js';
import { denials } from './denials.pg.js';
import { districts } from './districts.pg.js';
import { markStore } from './mark-store.pg.js';
import { moves } from './moves.pg.js';
import type { TrafficStore } from './traffic-store.js';

export const trafficStore: TrafficStore = { ...markStore, ...moves, ...cells, ...denials, ...districts };
