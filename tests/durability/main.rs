//! What must survive: the crash, power and fault tests of the whole program, driven from outside over
//! IMAP and the command line. Long by nature; each family prints its seed, and these variables steer it:
//! PILLARBOX_SEED, PILLARBOX_CRASH_ROUNDS (50 under CI, else 12), PILLARBOX_POWER_CUTS (200 under CI,
//! else 40), PILLARBOX_KEEP=1 (leave the directory of a failed test behind), PILLARBOX_PROGRAM (another
//! build of the program, for instance the release build, which has no crash points).

mod care; // backup, restore and repair, and kill -9 in the middle of them
mod client; // a small blocking IMAP client
mod crash; // kill -9 while eight clients write
mod delivery; // kill -9 while mail comes in
mod disk; // what a disk may hold after the power went
mod fault; // calls that fail
mod full_disk; // a disk that is full, and how it is emptied
mod installation; // the program under test: its directory, configuration and process
mod ledger; // the oracle: what must be there
mod mirror; // random clients that believe what they are told
mod picture; // what is there, read over IMAP
mod power; // the recorded log replayed to random points
mod random; // numbers and messages from a seed
mod readable; // an expunged message and the session that has not been told
mod recorded; // strace calls -> file operations
mod socket; // a connection, compressed or not
mod strace; // the text of a strace log -> calls
mod writer; // a client that does random things and writes down what was promised
