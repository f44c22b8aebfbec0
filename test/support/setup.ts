/** Runs in each test file. */
import { afterAll } from "vitest";
import { endStarted } from "./started.js";

afterAll(endStarted);
