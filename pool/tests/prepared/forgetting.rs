//! Scripts in which a session forgets names: DEALLOCATE and DISCARD.

use super::dialogues::{Script, one};
use crate::postgres::batch;

pub(super) fn scripts() -> Vec<(&'static str, Script)> {
    vec![
        (
            "DEALLOCATE and DISCARD",
            vec![
                one(batch().parse("a", "SELECT 1").parse("B", "SELECT 2").sync()),
                one(batch().query("DEALLOCATE a")),
                one(batch().run("a", &[]).sync()),
                one(batch().query("DEALLOCATE b")),
                one(batch().query("deallocate prepare \"B\";")),
                one(batch().run("B", &[]).sync()),
                one(batch().parse("a", "SELECT 3").parse("B", "SELECT 4").sync()),
                one(batch().parse("", "DEALLOCATE \"B\"").run("", &[]).sync()),
                one(batch().run("B", &[]).sync()),
                one(batch().query("DEALLOCATE ALL")),
                one(batch().run("a", &[]).sync()),
                one(batch().parse("a", "SELECT 5").run("a", &[]).sync()),
                one(batch().query("DISCARD ALL")),
                one(batch().parse("a", "SELECT 6").run("a", &[]).sync()),
                one(batch().parse("", "DEALLOCATE ALL").run("", &[]).sync()),
                one(batch().parse("a", "SELECT 7").run("a", &[]).sync()),
                one(batch().query("SELECT 1; DEALLOCATE ALL")),
                one(batch().parse("a", "SELECT 8").run("a", &[]).sync()),
                (batch().query("DEALLOCATE ALL").parse("a", "SELECT 9").run("a", &[]).sync(), 2),
                one(batch().run("a", &[]).sync()),
                (
                    batch()
                        .parse("", "DEALLOCATE ALL")
                        .run("", &[])
                        .sync()
                        .parse("a", "SELECT 10")
                        .sync()
                        .run("a", &[])
                        .sync(),
                    3,
                ),
            ],
        ),
        (
            "DEALLOCATE is bound, and the name forgotten before it is executed",
            vec![
                one(batch().parse("a", "SELECT 1").parse("d", "DEALLOCATE a").sync()),
                one(batch().bind("d", &[]).close("a").execute().sync()),
                one(batch().parse("a", "SELECT 2").sync()),
                one(batch()
                    .bind_to("p", "d", &[])
                    .bind_to("q", "d", &[])
                    .execute_some("p", 0)
                    .execute_some("q", 0)
                    .sync()),
                one(batch().run("a", &[]).sync()),
                // A portal that is gone forgets nothing.
                one(batch().parse("a", "SELECT 3").bind_to("p", "d", &[]).sync()),
                one(batch().execute_some("p", 0).sync()),
                one(batch().run("a", &[]).sync()),
            ],
        ),
        (
            "names are forgotten on the way",
            vec![
                one(batch().parse("a", "SELECT 1").parse("b", "SELECT 2").sync()),
                one(batch().run("b", &[]).sync()),
                // With a server that has room for one, `a` is not there any more.
                one(batch()
                    .parse("", "DEALLOCATE ALL")
                    .run("", &[])
                    .parse("a", "SELECT 3")
                    .run("a", &[])
                    .sync()),
                one(batch().run("a", &[]).sync()),
                one(batch().parse("b", "SELECT 4").parse("c", "DEALLOCATE ALL").sync()),
                one(batch().run("b", &[]).sync()),
                one(batch().run("c", &[]).parse("a", "SELECT 5").run("a", &[]).sync()),
                one(batch().run("a", &[]).sync()),
                one(batch().run("b", &[]).sync()),
                // The server refuses to forget, and all of it is skipped.
                one(batch().parse("d", "SELECT 6").parse("c", "DEALLOCATE ALL").sync()),
                one(batch()
                    .parse("", "SELECT 1 / $1::int")
                    .run("", &["0"])
                    .run("c", &[])
                    .parse("a", "SELECT 7")
                    .sync()),
                one(batch().run("a", &[]).run("d", &[]).sync()),
                one(batch().run("c", &[]).parse("a", "SELEKT").sync()),
                one(batch().run("a", &[]).sync()),
                one(batch().parse("a", "SELECT 8").parse("b", "SELECT 9").run("b", &[]).sync()),
                (
                    batch()
                        .query("SELECT 1; DEALLOCATE ALL")
                        .parse("a", "SELECT 10")
                        .run("a", &[])
                        .sync(),
                    2,
                ),
                one(batch().run("a", &[]).sync()),
            ],
        ),
        (
            "behind a DEALLOCATE ALL, names come and go in the same batch",
            vec![
                // With a server that has room for one, `b` takes the place of `a` at once.
                (
                    batch()
                        .parse("", "DEALLOCATE ALL")
                        .run("", &[])
                        .parse("a", "SELECT 1")
                        .parse("b", "SELECT 2")
                        .sync()
                        .run("a", &[])
                        .sync(),
                    2,
                ),
                one(batch()
                    .parse("", "DEALLOCATE ALL")
                    .run("", &[])
                    .parse("a", "SELECT 1")
                    .run("", &[])
                    .run("a", &[])
                    .sync()),
                one(batch()
                    .parse("", "DEALLOCATE ALL")
                    .run("", &[])
                    .parse("a", "SELECT 1")
                    .parse("a", "SELECT 2")
                    .sync()),
                one(batch().run("a", &[]).sync()),
                one(batch().parse("b", "SELECT 2").sync()),
                one(batch().run("b", &[]).run("a", &[]).sync()),
                one(batch()
                    .parse("", "DEALLOCATE ALL")
                    .run("", &[])
                    .parse("a", "SELECT 3")
                    .close("a")
                    .sync()),
                one(batch().run("a", &[]).sync()),
                one(batch().parse("a", "SELECT 4").sync()),
                one(batch()
                    .parse("", "DEALLOCATE ALL")
                    .run("", &[])
                    .parse("b", "SELEKT")
                    .close("a")
                    .sync()),
                one(batch().run("a", &[]).sync()),
            ],
        ),
        (
            "behind a DEALLOCATE ALL, a text is prepared that was there before",
            vec![
                one(batch().parse("a", "SELECT 1").parse("b", "SELECT 2").sync()),
                one(batch().parse("d", "DEALLOCATE ALL").run("b", &[]).sync()),
                one(batch().run("d", &[]).parse("c", "SELECT 2").run("c", &[]).sync()),
                one(batch().run("c", &[]).sync()),
                one(batch().run("b", &[]).sync()),
                one(batch().parse("d", "DEALLOCATE ALL").sync()),
                one(batch()
                    .parse("", "SELECT 1 / $1::int")
                    .run("", &["0"])
                    .run("d", &[])
                    .parse("e", "SELECT 2")
                    .sync()),
                one(batch().run("c", &[]).sync()),
                one(batch().parse("e", "SELECT 2").run("e", &[]).sync()),
            ],
        ),
    ]
}
