//! Phones' manners: what the host tells a session while it runs changes when and
//! by whom the work is done, never the answer.

use ondol::{
    CancelToken, Error, FinishReason, GenerateOptions, Governor, MemoryPressure, Model, Session,
    SessionOptions, ThermalState,
};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// These tests look at time and memory of the whole process, so they run one by one.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn session(model: &Model, governor: &Governor, context: usize) -> Session {
    let options = SessionOptions {
        threads: Some(2),
        context: Some(context),
        prefill_chunk: 64,
        governor: governor.clone(),
        ..SessionOptions::default()
    };
    model.session(&options).unwrap()
}

fn prompt(tokens: u32) -> Vec<u32> {
    (0..tokens).map(|i| 3 + i * 11 % 300).collect()
}

/// Logits after a prompt and a few tokens, bit by bit; `between` is called before each pass.
fn logits(session: &mut Session, tokens: u32, mut between: impl FnMut(u32)) -> Vec<Vec<u32>> {
    let bits = |logits: &[f32]| logits.iter().map(|x| x.to_bits()).collect::<Vec<u32>>();
    between(0);
    let first = session.prefill(&prompt(tokens), &CancelToken::new());
    let mut all = vec![bits(first.unwrap())];
    for token in 0..12 {
        between(token);
        all.push(bits(session.decode(40 + token).unwrap()));
    }
    session.clear();
    all
}

#[test]
fn heat_and_want_of_memory_do_not_change_a_bit() {
    let _alone = alone();
    let model = Model::hello().unwrap();
    let governor = Governor::new();
    let mut session = session(&model, &governor, 512);
    let cool = logits(&mut session, 300, |_| ());
    for level in [
        ThermalState::Critical,
        ThermalState::Serious,
        ThermalState::Fair,
    ] {
        governor.set_thermal(level);
        assert!(cool == logits(&mut session, 300, |_| ()), "{level:?}");
    }
    let changing = logits(&mut session, 300, |token| {
        governor.set_thermal([ThermalState::Nominal, ThermalState::Critical][token as usize % 2]);
        governor.set_memory_pressure(
            [MemoryPressure::Low, MemoryPressure::Critical][token as usize % 2],
        );
    });
    assert!(cool == changing);
}

/// What `/proc/self/stat` counts: hundredths of a second, of all threads.
#[cfg(target_os = "linux")]
fn cpu_ticks() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    let field = |n: usize| fields.split(' ').nth(n).unwrap().parse::<u64>().unwrap();
    field(11) + field(12)
}

/// Whether there is a while in which the process does next to nothing. The first may
/// still see a thread on its way into the pause, if the machine is busy; one that spins
/// there shows in all.
#[cfg(target_os = "linux")]
fn comes_to_rest() -> bool {
    (0..25).any(|_| {
        let before = cpu_ticks();
        thread::sleep(Duration::from_millis(400));
        cpu_ticks() - before <= 2
    })
}

#[test]
fn a_paused_session_waits_and_goes_on() {
    let _alone = alone();
    let model = Model::hello().unwrap();
    let governor = Governor::new();
    let mut session = session(&model, &governor, 512);
    let expected = logits(&mut session, 300, |_| ());

    governor.pause();
    let worker = thread::spawn(move || logits(&mut session, 300, |_| ()));
    #[cfg(target_os = "linux")]
    assert!(comes_to_rest(), "a paused session uses the CPU");
    #[cfg(not(target_os = "linux"))]
    thread::sleep(Duration::from_millis(400));
    assert!(!worker.is_finished());
    governor.resume();
    assert!(worker.join().unwrap() == expected);
}

/// In the middle of an answer the text stops, and goes on as if nothing had been.
#[test]
fn an_answer_is_paused_between_its_tokens() {
    let _alone = alone();
    let model = Model::hello().unwrap();
    let governor = Governor::new();
    let mut session = session(&model, &governor, 512);
    let options = GenerateOptions {
        max_tokens: Some(60),
        ..GenerateOptions::default()
    };
    let prompt = prompt(40);
    let mut text = |pause: bool| {
        session.clear();
        let generation = session.generate(&prompt, &options, &CancelToken::new());
        let mut text = String::new();
        for (index, piece) in generation.unwrap().enumerate() {
            text += &piece.unwrap().text;
            if pause && index % 5 == 0 {
                governor.pause();
                let governor = governor.clone();
                thread::spawn(move || {
                    thread::sleep(Duration::from_millis(5));
                    governor.resume();
                });
            }
        }
        text
    };
    let expected = text(false);
    assert!(!expected.is_empty());
    assert_eq!(text(true), expected);
}

#[test]
fn a_cancel_is_heard_while_paused() {
    let _alone = alone();
    let model = Model::hello().unwrap();
    let governor = Governor::new();
    let mut session = session(&model, &governor, 512);
    let cancel = CancelToken::new();

    governor.pause();
    let (result, mut session) = thread::scope(|scope| {
        let worker = scope.spawn(|| {
            let result = session.prefill(&prompt(300), &cancel).map(|_| ());
            (result, session)
        });
        thread::sleep(Duration::from_millis(50));
        assert!(!worker.is_finished());
        cancel.cancel();
        worker.join().unwrap()
    });
    assert!(matches!(result, Err(Error::Cancelled)));
    assert!(session.tokens().is_empty());

    governor.resume();
    cancel.reset();
    let options = GenerateOptions::default();
    let mut generation = session.generate(&prompt(40), &options, &cancel).unwrap();
    generation.next().unwrap().unwrap();
    governor.pause();
    thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(Duration::from_millis(50));
            cancel.cancel();
        });
        generation.by_ref().for_each(|piece| drop(piece.unwrap()));
    });
    assert_eq!(generation.finish_reason(), Some(FinishReason::Cancelled));
    assert!(governor.is_paused());
}

/// Resident bytes of the process, by a name in `/proc/self/status`.
#[cfg(target_os = "linux")]
fn resident(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|l| l.strip_prefix(name)).unwrap();
    let number = line.trim_start_matches(':').trim().trim_end_matches(" kB");
    number.parse::<u64>().unwrap() * 1024
}

#[cfg(target_os = "linux")]
#[test]
fn memory_is_given_back_and_comes_back() {
    let _alone = alone();
    let folder = std::env::temp_dir().join(format!("ondol-manners-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("hello.gguf");
    std::fs::write(&path, Model::hello_bytes()).unwrap();
    let model = Model::open(&path).unwrap();
    let governor = Governor::new();
    let mut session = session(&model, &governor, 4096);
    let expected = logits(&mut session, 4000, |_| ());

    // Idle, with an empty cache: the host asks the session itself.
    let cache = model
        .memory(&SessionOptions {
            context: Some(4096),
            ..SessionOptions::default()
        })
        .unwrap()
        .kv_cache;
    let before = resident("RssAnon");
    session.release_unused();
    let freed = before.saturating_sub(resident("RssAnon"));
    println!("cache of {cache} bytes: {freed} bytes less in memory");
    assert!(freed > cache / 2);
    assert!(logits(&mut session, 4000, |_| ()) == expected);

    // The weights leave the process at once.
    let before = resident("RssFile");
    governor.set_memory_pressure(MemoryPressure::Critical);
    let freed = before.saturating_sub(resident("RssFile"));
    println!(
        "weights of {} bytes: {freed} bytes less in memory",
        model.file_bytes()
    );
    assert!(freed > model.file_bytes() / 2);

    // Paused in the middle of a prompt, which lies in a long cache.
    governor.set_memory_pressure(MemoryPressure::Normal);
    assert!(logits(&mut session, 4000, |_| ()) == expected);
    governor.pause();
    thread::scope(|scope| {
        let worker = scope.spawn(|| logits(&mut session, 100, |_| ()));
        thread::sleep(Duration::from_millis(50));
        let before = resident("RssAnon");
        governor.set_memory_pressure(MemoryPressure::Low);
        thread::sleep(Duration::from_millis(100));
        let freed = before.saturating_sub(resident("RssAnon"));
        println!("while paused: {freed} bytes less in memory");
        assert!(freed > cache / 2);
        governor.resume();
        worker.join().unwrap();
    });
    assert!(logits(&mut session, 4000, |_| ()) == expected);
    std::fs::remove_dir_all(&folder).unwrap();
}
