// All scenarios in the order of their numbers; those without a number come last.
import { InvalidInput } from '../../src/errors.ts';
import { badConfig } from './bad-config.ts';
import { cpuThrottled } from './cpu-throttled.ts';
import { imageCannotBePulled } from './image-cannot-be-pulled.ts';
import { leftoverEvictLeader } from './leftover-evict-leader.ts';
import { lostVolume } from './lost-volume.ts';
import { outOfMemory } from './out-of-memory.ts';
import { partition } from './partition.ts';
import { pdQuorumLost } from './pd-quorum-lost.ts';
import type { Scenario } from './scenario.ts';
import { falseAlarm, poisonedLog, quotaExceeded, twoFaults } from './specials.ts';
import { storeScaledDown } from './store-scaled-down.ts';
import { storeStuckOffline } from './store-stuck-offline.ts';
import { volumeFull } from './volume-full.ts';
import { wrongPdAddress } from './wrong-pd-address.ts';

export const scenarios: readonly Scenario[] = [
  storeScaledDown,
  badConfig,
  wrongPdAddress,
  lostVolume,
  volumeFull,
  outOfMemory,
  pdQuorumLost,
  leftoverEvictLeader,
  storeStuckOffline,
  imageCannotBePulled,
  partition,
  cpuThrottled,
  falseAlarm,
  twoFaults,
  poisonedLog,
  quotaExceeded,
];

/** @throws InvalidInput with the names that exist. */
export function scenarioNamed(name: string): Scenario {
  const found = scenarios.find((scenario) => scenario.name === name);
  if (found === undefined)
    throw new InvalidInput(
      `there is no scenario "${name}"; choose from ${scenarios.map((scenario) => scenario.name).join(', ')}`,
    );
  return found;
}
