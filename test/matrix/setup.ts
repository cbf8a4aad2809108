// In each worker, before its tests.

import { useTheseServers } from "./binaries.ts";

useTheseServers();
