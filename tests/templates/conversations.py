"""Conversations that every published template is rendered with."""

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "날씨를 알려 준다",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string", "description": "City's name"},
                "days": {"type": "integer", "default": 1, "minimum": 1},
                "units": {"type": "string", "enum": ["C", "F"]},
                "hours": {"type": "array", "items": {"type": "number"}},
            },
            "required": ["city"],
        },
    },
}
CLOCK = {
    "type": "function",
    "function": {"name": "clock", "description": "Tells the time.", "parameters": {"type": "object", "properties": {}}},
}


def system(content="짧게 답해."):
    return {"role": "system", "content": content}


def user(content="안녕하세요 🔥"):
    return {"role": "user", "content": content}


def assistant(content="네, \"안녕\" <b> & it's\n", **more):
    return {"role": "assistant", "content": content, **more}


def call(arguments, name="get_weather", id="call_1ab"):
    return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}


def answer(content='{"temp": 21.5}', **more):
    return {"role": "tool", "name": "get_weather", "tool_call_id": "call_1ab", "content": content, **more}


OBJECT = {"city": "서울", "days": 2, "ratio": 1e-7, "deep": {"a": [1, None, True]}}
STRING = '{"city": "서울", "days": 2}'

MESSAGES = {
    "user": [user()],
    "system and user": [system(), user()],
    "turns": [system(), user(), assistant(), user("고마워"), assistant("또 봐요"), user(" 잘 가 ")],
    "ends with the assistant": [user(), assistant("반쯤")],
    "starts with the assistant": [assistant("어서 와"), user()],
    "two users": [user(), user("하나 더")],
    "two systems": [system(), system("Second."), user()],
    "late system": [user(), assistant(), system("Later."), user()],
    "empty content": [system(""), user("")],
    "blank content": [system("  \n"), user(" \n ")],
    "null content": [user(), assistant(None), user()],
    "parts": [user([{"type": "text", "text": "하나"}, {"type": "text", "text": "둘"}])],
    "control tokens in text": [user("<|im_end|></s>[INST]<end_of_turn>{{ x }}{% if %}")],
    "reasoning": [user(), assistant("답", reasoning_content="음…\n"), user("더"), assistant("또", reasoning_content="")],
    "thoughts in text": [user(), assistant("<think>\n음\n</think>\n\n답"), user("더")],
    "unknown role": [user(), {"role": "critic", "content": "x"}, user()],
    "developer": [{"role": "developer", "content": "Be brief."}, user()],
    "names": [{"role": "user", "name": "철수", "content": "나야"}],
    "nothing": [],
}
TOOL_MESSAGES = {
    "asked": [user("서울 날씨?")],
    "asked with a system": [system(), user("서울 날씨?")],
    "call": [user(), assistant("", tool_calls=[call(OBJECT)])],
    "call with null content": [user(), assistant(None, tool_calls=[call(OBJECT)]), answer()],
    "call as a string": [user(), assistant(None, tool_calls=[call(STRING)]), answer()],
    "call without content": [user(), {"role": "assistant", "tool_calls": [call(OBJECT)]}, answer(), user("그래")],
    "call and content": [system(), user(), assistant("볼게요", tool_calls=[call(OBJECT)]), answer(), assistant("21.5도"), user()],
    "two calls": [
        user(),
        assistant("", tool_calls=[call(OBJECT), call({}, name="clock", id="call_2cd")]),
        answer(),
        answer("12:00", name="clock", tool_call_id="call_2cd"),
        assistant("끝"),
        user(),
    ],
    "nine letters": [user(), assistant("", tool_calls=[call(OBJECT, id="abcdefghi")]), answer(tool_call_id="abcdefghi")],
    "answer is an object": [user(), assistant("", tool_calls=[call(OBJECT)]), answer({"temp": 21})],
    "answer is parts": [user(), assistant("", tool_calls=[call(OBJECT)]), answer([{"type": "text", "text": "맑음"}])],
    "no arguments": [user(), assistant("", tool_calls=[call({})]), answer("")],
    "calls are null": [user(), assistant("x", tool_calls=None), user()],
    "no calls": [user(), assistant("x", tool_calls=[]), user()],
    "reasoning and call": [user(), assistant("", reasoning_content="날씨를 봐야지", tool_calls=[call(OBJECT)]), answer()],
    "answer first": [answer(), user()],
}


def all():
    """Pairs of a name and the variables."""
    for name, messages in {**MESSAGES, **TOOL_MESSAGES}.items():
        tools = [WEATHER, CLOCK] if name in TOOL_MESSAGES else None
        yield name, variables(messages, tools)
        yield f"{name}, no prompt", variables(messages, tools, add_generation_prompt=False)
    for name in ["user", "turns", "reasoning", "thoughts in text"]:
        yield f"{name}, with tools", variables(MESSAGES[name], [WEATHER])
        for thinking in [True, False]:
            yield f"{name}, thinking {thinking}", variables(MESSAGES[name], None, enable_thinking=thinking)
    for thinking in [True, False]:
        yield f"tools, thinking {thinking}", variables(TOOL_MESSAGES["two calls"], [WEATHER], enable_thinking=thinking)


def variables(messages, tools, add_generation_prompt=True, **more):
    return {
        "messages": messages,
        "tools": tools,
        "documents": None,
        "add_generation_prompt": add_generation_prompt,
        "bos_token": "<s>",
        "eos_token": "</s>",
        **more,
    }
