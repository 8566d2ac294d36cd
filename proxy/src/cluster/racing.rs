//! Connecting to a name that leads to several addresses, of which some may not answer: the next
//! one is tried while the one before is still awaited (Happy Eyeballs, RFC 8305).

use std::{
    future::{Future, poll_fn},
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    task::Poll,
    time::Duration,
};

/// How long an attempt is awaited alone (RFC 8305 section 5, Connection Attempt Delay).
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// The connection that was made first, and the place of its address. `sleep` waits in the
/// caller's runtime. Those that were slower are given up.
///
/// # Errors
/// The last of all failures; [`io::ErrorKind::AddrNotAvailable`] without an address.
pub(super) async fn first_connected<C, S, P>(
    addresses: &[SocketAddr],
    first: usize,
    connect: impl Fn(SocketAddr) -> C,
    sleep: impl Fn(Duration) -> P,
) -> io::Result<(S, usize)>
where
    C: Future<Output = io::Result<S>>,
    P: Future<Output = ()>,
{
    let mut waiting = in_turn(addresses, first).into_iter();
    let mut under_way: Vec<(usize, Pin<Box<C>>)> = Vec::new();
    let mut failure = io::Error::from(io::ErrorKind::AddrNotAvailable);
    let mut pause = pin!(None);
    poll_fn(|cx| {
        loop {
            let mut connected = None;
            let before = under_way.len();
            under_way.retain_mut(|(place, attempt)| {
                if connected.is_some() {
                    return true;
                }
                match attempt.as_mut().poll(cx) {
                    Poll::Pending => return true,
                    Poll::Ready(Ok(stream)) => connected = Some((stream, *place)),
                    Poll::Ready(Err(error)) => failure = error,
                }
                false
            });
            if let Some(connected) = connected {
                return Poll::Ready(Ok(connected));
            }
            let failed = under_way.len() < before;
            let elapsed = pause
                .as_mut()
                .as_pin_mut()
                .is_none_or(|pause: Pin<&mut P>| pause.poll(cx).is_ready());
            if !failed && !elapsed {
                return Poll::Pending;
            }
            let Some(place) = waiting.next() else {
                if !under_way.is_empty() {
                    return Poll::Pending;
                }
                let last = std::mem::replace(&mut failure, io::ErrorKind::Other.into());
                return Poll::Ready(Err(last));
            };
            under_way.push((place, Box::pin(connect(addresses[place]))));
            pause.set(Some(sleep(ATTEMPT_DELAY)));
        }
    })
    .await
}

/// The places of the addresses in the order in which they are tried: from `first` on, in the
/// resolver's order, the families by turns (RFC 8305 section 4).
fn in_turn(addresses: &[SocketAddr], first: usize) -> Vec<usize> {
    let Some(leader) = addresses.get(first).or(addresses.first()) else { return Vec::new() };
    let from = if first < addresses.len() { first } else { 0 };
    let around = (from..addresses.len()).chain(0..from);
    let (one, other): (Vec<usize>, Vec<usize>) =
        around.partition(|place| addresses[*place].is_ipv4() == leader.is_ipv4());
    let (mut one, mut other) = (one.into_iter(), other.into_iter());
    let mut order = Vec::with_capacity(addresses.len());
    while order.len() < addresses.len() {
        order.extend(one.next());
        order.extend(other.next());
    }
    order
}

#[cfg(test)]
mod tests {
    use std::{
        cell::RefCell,
        future::{pending, ready},
    };

    use super::*;

    fn addresses(all: &[&str]) -> Vec<SocketAddr> {
        all.iter().map(|one| one.parse().unwrap()).collect()
    }

    #[test]
    fn families_take_turns_and_the_one_that_worked_leads() {
        let all = addresses(&["[::1]:1", "[::2]:1", "[::3]:1", "1.0.0.1:1", "1.0.0.2:1"]);
        assert_eq!(in_turn(&all, 0), [0, 3, 1, 4, 2]);
        assert_eq!(in_turn(&all, 3), [3, 0, 4, 1, 2]);
        assert_eq!(in_turn(&all, 1), [1, 3, 2, 4, 0]);
        assert_eq!(in_turn(&all, 9), [0, 3, 1, 4, 2], "there were more addresses once");
        assert_eq!(in_turn(&[], 0), [] as [usize; 0]);
    }

    /// What becomes of connecting to each port.
    async fn race(ports: &[u16]) -> (io::Result<u16>, Vec<u16>) {
        const SILENT: u16 = 1;
        const REFUSED: u16 = 2;
        let all: Vec<SocketAddr> =
            ports.iter().map(|port| ([127, 0, 0, 1], *port).into()).collect();
        let tried = RefCell::new(Vec::new());
        let connect = |address: SocketAddr| -> Pin<Box<dyn Future<Output = io::Result<u16>>>> {
            tried.borrow_mut().push(address.port());
            match address.port() {
                SILENT => Box::pin(pending()),
                REFUSED => Box::pin(ready(Err(io::ErrorKind::ConnectionRefused.into()))),
                port => Box::pin(ready(Ok(port))),
            }
        };
        let connected = first_connected(&all, 0, connect, tokio::time::sleep).await;
        (
            connected.map(|(port, place)| {
                assert_eq!(all[place].port(), port);
                port
            }),
            tried.into_inner(),
        )
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_address_does_not_hold_the_next_one_up() {
        let began = tokio::time::Instant::now();
        let (connected, tried) = race(&[1, 1, 80, 81]).await;
        assert_eq!((connected.unwrap(), tried), (80, vec![1, 1, 80]));
        assert_eq!(began.elapsed(), 2 * ATTEMPT_DELAY);
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_is_not_waited_out() {
        let began = tokio::time::Instant::now();
        let (connected, tried) = race(&[2, 1, 2, 80]).await;
        assert_eq!((connected.unwrap(), tried), (80, vec![2, 1, 2, 80]));
        assert_eq!(began.elapsed(), ATTEMPT_DELAY);
    }

    #[tokio::test(start_paused = true)]
    async fn when_all_refuse_that_is_said() {
        let (connected, tried) = race(&[2, 2]).await;
        assert_eq!(connected.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        assert_eq!(tried, [2, 2]);
        assert_eq!(race(&[]).await.0.unwrap_err().kind(), io::ErrorKind::AddrNotAvailable);
    }
}
