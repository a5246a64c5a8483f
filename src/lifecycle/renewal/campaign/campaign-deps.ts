import type { Clock } from '../../../platform/clock.js';
import type { Transactor } from '../../../platform/db/transaction.js';
import type { Ledger } from '../../../platform/ledger/ledger.js';
import type { RevocationStore } from '../../revocation/index.js';
import type { RenewalStore } from '../renewal-store.js';
import type { CampaignJudge } from './campaign.js';
import type { CampaignStore } from './campaign-store.js';

export interface CampaignDeps {
  readonly transactor: Transactor;
  readonly clock: Clock;
  readonly ledger: Ledger;
  readonly campaigns: CampaignStore;
  readonly windows: Pick<RenewalStore, 'moveWindows'>;
  readonly units: Pick<RevocationStore, 'unitIds' | 'serialNumbers'>;
  readonly judge: CampaignJudge;
}
